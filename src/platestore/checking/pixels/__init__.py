"""Whether the pixels of images are whole: their files, the chunks in them, and the levels made of them."""
