#!/usr/bin/env python3
"""Arrays by NumPy, for src/formats/numpy_test.cc. Writes tests/golden/formats/*.npy."""

import pathlib

import numpy as np

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/formats"


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    np.save(OUT / "f4.npy", np.array([[0.5, -1.25, np.inf], [1e-45, 3.0, -0.0]], np.float32))
    np.save(OUT / "f8.npy", np.array(0.1))
    np.save(OUT / "f2.npy", np.array([0.1, 65504], np.float16))
    np.save(OUT / "i4.npy", np.arange(-3, 9, dtype=np.int32).reshape(3, 2, 2))
    np.save(OUT / "i8.npy", np.array([2**62, -1]))
    np.save(OUT / "bool.npy", np.array([True, False, True]))
    np.save(OUT / "empty.npy", np.zeros((0, 3), np.float32))
    np.save(OUT / "fortran.npy", np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)))
    np.save(OUT / "fortran_vector.npy", np.asfortranarray(np.arange(3, dtype=np.float32)))
    np.save(OUT / "big_endian.npy", np.arange(3, dtype=">f4"))
    np.save(OUT / "structured.npy", np.zeros(2, [("x", "<f4"), ("y", "<i4")]))
    np.save(OUT / "complex.npy", np.zeros(2, np.complex64))
    for version in (2, 3):
        with open(OUT / f"version_{version}.npy", "wb") as file:
            np.lib.format.write_array(file, np.arange(4, dtype=np.int32), version=(version, 0))


if __name__ == "__main__":
    main()
