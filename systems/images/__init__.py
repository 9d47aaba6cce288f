"""Pictures that people give: files, masks, control maps, and what in them is the subject."""
