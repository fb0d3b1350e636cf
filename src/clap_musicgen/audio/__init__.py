"""From files to waveforms: finding, decoding, resampling and cutting audio; covers, and WAV to play.

Knows nothing of models or libraries. Third-party doors: PyAV (decode), soxr (files, playing) and
tinytag (files, pictures).
"""
