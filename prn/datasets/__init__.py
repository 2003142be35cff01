"""From a published archive, or a user's own folder, to a verified index, a split's images and working tensors."""
