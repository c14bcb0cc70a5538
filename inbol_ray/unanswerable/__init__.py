"""Questions outside the extrinsic boundary: the image does not hold what they ask for (paper figure 2)."""
