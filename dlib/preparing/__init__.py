"""What prepare.py does ahead of any run: tokenizers, token stores, and what there is to know of a corpus."""
