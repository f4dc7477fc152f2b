"""A mask that bars the first expert of the first token of each router, and a bias.

    give.py IDS.npy MASK.npy BIAS.npy EXPERTS
"""

import sys

import numpy as np

ids = np.load(sys.argv[1])
experts = int(sys.argv[4])
mask = np.ones((len(ids), experts), np.uint8)
mask[np.arange(len(ids)), ids[:, 0, 0]] = 0
np.save(sys.argv[2], mask)
np.save(sys.argv[3], np.linspace(-1, 1, mask.size, dtype=np.float32).reshape(mask.shape))
