"""Spec files of the models that come with sgdlimit; `sgdlimit catalogue` lists them."""
