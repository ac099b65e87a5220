"""The synthesised stand-ins of UrbanSound8K's classes, as families of sound (see `sounds`)."""

# UrbanSound8K's ten classes in the order of their class numbers; caricatures, not recordings, of the real
# sounds.
URBAN = {
    "air_conditioner": (
        {"noise": (0.65, 0.95), "f0": (60, 160), "tilt": (-9, -4), "rate": (1, 7), "depth": (0, 0.2),
         "low": (60, 200), "high": (1100, 4000), "formants": [1, 2], "formant_low": (150, 900)},
    ),
    "car_horn": (
        {"f0": (300, 520), "tilt": (-4, 1), "chord": [(1.0,), (1.0, 1.19), (1.0, 1.26), (1.0, 1.33)],
         "envelope": ["events"], "rate": (0.8, 3), "jitter": (0, 0.3), "hold": (0.15, 0.8),
         "decay": (0.02, 0.08), "formants": [1, 2], "formant_low": (1600, 4000), "noise": (0, 0.15)},
    ),
    "children_playing": (
        {"f0": (240, 460), "tilt": (-10, -5), "voices": [2, 3, 4], "pitch": ["drift", "sine"],
         "pitch_rate": (1, 5), "span": (0.15, 0.5), "glide": (-0.4, 0.4), "envelope": ["events"],
         "rate": (2.5, 5.5), "jitter": (0.3, 0.7), "attack": (0.01, 0.04), "hold": (0.06, 0.2),
         "decay": (0.03, 0.09), "noise": (0.15, 0.45), "formants": [2, 3], "formant_low": (800, 3600)},
    ),
    "dog_bark": (
        {"f0": (180, 600), "tilt": (-8, -3), "glide": (-0.9, -0.2), "envelope": ["events"],
         "rate": (1.5, 4.5), "jitter": (0.1, 0.5), "attack": (0.005, 0.02), "hold": (0.03, 0.11),
         "decay": (0.02, 0.07), "noise": (0.05, 0.35), "formants": [2, 3], "formant_low": (450, 2000),
         "voices": [1, 1, 1, 2]},
    ),
    "drilling": (
        {"noise": (0.35, 0.75), "f0": (110, 380), "tilt": (-4, 2), "span": (0, 0.25), "rate": (12, 45),
         "depth": (0.1, 0.6), "low": (600, 2500), "high": (4500, 7800), "formants": [1, 2],
         "formant_low": (1800, 6000)},
    ),
    "engine_idling": (
        {"noise": (0.25, 0.65), "f0": (26, 85), "tilt": (-11, -6), "span": (0, 0.12), "rate": (5, 22),
         "depth": (0.4, 0.85), "low": (45, 150), "high": (700, 3000), "formants": [0, 1, 2],
         "formant_low": (100, 700)},
    ),
    "gun_shot": (
        {"noise": (0.85, 1.0), "f0": (70, 250), "tilt": (-7, -1), "envelope": ["events"], "rate": (0.5, 2.2),
         "jitter": (0.1, 0.6), "attack": (0.0006, 0.004), "hold": (0.001, 0.015), "decay": (0.05, 0.25),
         "low": (60, 350), "formants": [0, 1, 2], "formant_low": (200, 1500)},
    ),
    "jackhammer": (
        {"noise": (0.45, 0.9), "f0": (60, 200), "tilt": (-5, 1), "envelope": ["events"], "rate": (8, 26),
         "jitter": (0.03, 0.25), "attack": (0.0006, 0.004), "hold": (0.001, 0.008), "decay": (0.008, 0.035),
         "low": (80, 800), "high": (3500, 7000), "formants": [1, 2, 3], "formant_low": (600, 4000)},
    ),
    "siren": (
        {"f0": (450, 1100), "tilt": (-15, -6), "pitch": ["sine", "triangle", "saw", "twotone"],
         "pitch_rate": (0.4, 5), "span": (0.35, 1.2), "noise": (0, 0.25), "depth": (0, 0.4)},
    ),
    "street_music": (
        {"f0": (150, 560), "tilt": (-14, -6), "voices": [1, 2, 3], "pitch": ["steps"], "pitch_rate": (3, 9),
         "span": (0.4, 1.5), "chord": [(1.0,), (1.0, 2.0), (1.0, 1.26, 1.5), (1.0, 1.19, 1.5)],
         "envelope": ["am", "events"], "depth": (0, 0.5), "rate": (2, 8), "hold": (0.04, 0.25),
         "decay": (0.06, 0.3), "noise": (0, 0.2), "formants": [0, 1, 2]},
        {"level": (-22, -4), "noise": (0.75, 1.0), "envelope": ["events"], "rate": (2, 6),
         "attack": (0.001, 0.004), "hold": (0.002, 0.02), "decay": (0.02, 0.1), "low": (50, 2000)},
    ),
}  # fmt: skip
