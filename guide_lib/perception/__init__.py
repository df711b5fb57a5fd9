"""Networks that look at pictures: LPIPS, the identity embedder, the judge, and the face detector."""
