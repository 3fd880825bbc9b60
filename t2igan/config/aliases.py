"""Names of earlier versions that runs, sweeps and command lines may still use."""

RECIPES = {
    "caption_contrast": "contrastive",
    "matching_hinge": "dfgan",
    "projected": "projected_gan",
    "relativistic": "r3gan",
    "stackgan2": "stackgan_stage2",
}
METRICS = {"memorisation": "memorization"}
