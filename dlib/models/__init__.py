"""Any Hugging Face model and its tokenizer: found, loaded or drawn, checked against the run."""
