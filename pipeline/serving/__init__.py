"""The guided denoiser as a process of its own: other programs send pictures, and are told how they should change."""
