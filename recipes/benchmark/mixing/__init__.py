"""The table of mixing: what each mixer, transform, loss and learned mixing gains over plain training, at what cost."""
