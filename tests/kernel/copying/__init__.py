"""What an online copy keeps of files, and what it feels like for those who use them."""
