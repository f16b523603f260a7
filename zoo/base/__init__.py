"""What models are made of: the bases that yours extend too, and the mathematics that several share."""
