"""The page of `t2igan report`: one HTML file that needs nothing beside itself."""
