"""Files of prompts that people upload: which file types and dataset formats are read, and how."""
