"""Generated scenes: textured triangle meshes and two renders of the same place with exact truth."""
