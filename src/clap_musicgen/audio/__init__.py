"""From files to waveforms: finding, decoding, resampling and cutting audio.

Knows nothing of models or libraries. Third-party doors: PyAV (decode), soxr and tinytag (files).
"""
