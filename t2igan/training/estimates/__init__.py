"""What a run will take, before it is begun: memory, arithmetic, images/s and hours."""
