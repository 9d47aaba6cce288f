"""Models as others made them: bases, their text encoders, codecs and ControlNets, and where they are found."""
