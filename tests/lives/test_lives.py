"""Random lives of real drivers, some of each kind; ``python -m tests.lives`` lives more of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Final

import pytest

from tests.lives.course import ENDINGS
from tests.lives.life import DIALECTS, Life

SEEDS: Final = [
    int(seed)
    for seed in """
        0 3 5 6 7 8 10 12 13 14 18 19 21 22 23 27 28 29 31 32 33 34 37 38 39 42 44 45 49 51 54 55 57 58
        59 60 65 66 67 68 69 71 73 74 75 76 78 81 82 83 87 88 90 91 93 95 96 97 98 100 101 102 103 104
        105 106 107 109 110 112 113 115 116 118 120 123 124 125 126 127 128 129 131 132 133 134 135 137
        138 139 140 141 145 148 149 150 151 153 155 156 157 159 160 161 164 165 166 167 168 169 170 171
        173 176 177 179 180 181 185 186 187 189 192 193 194 195 196 197 198 200 202 203 205 206 207 210
        211 212 213 214 217 219 220 223 224 228 229 232 233 234 235 237 241 242 243 246 248 249 250 251
        252 253 254 255 258 259 261 263 265 266 270 276 278 280 282 285 286 288 290 291 292 294 296 298
        301 302 303 304 305 307 315 318 319 320 321 322 327 328 330 332 333 334 336 337 338 345 346 350
        351 352 353 354 355 356 357 358 359 360 361 363 364 369 371 372 373 374 375 376 378 380 381 383
        385 386 388 391 397 399 400 402 403 406 407 409 415 416 420 421 422 423 426 428 429 430 431 435
        436 438 442 444 445 446 447 448 449 452 453 454 455 456 457 459 460 461 462 463 466 467 468 469
        470 471 472 473 474 476 477 478 480 481 483 484 486 487 488 490 494 495 497 498
    """.split()
]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_laws_hold(seed: int) -> None:
    findings = [str(finding) for finding in Life.draw(seed).run().findings]
    assert not findings, f"to see it: python -m tests.lives --replay {seed}"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_same_seed_is_the_same_life(dialect: str) -> None:
    life = replace(Life.draw(4711), dialect=dialect)
    first, again = life.run(), life.run()
    assert first.calls > 10
    assert first.events == again.events
    assert replace(life, seed=4712).run().events != first.events


def test_there_are_lives_of_every_kind() -> None:
    lives = [Life.draw(seed) for seed in SEEDS]
    assert {(life.dialect, life.ending) for life in lives if life.forwards} == set(product(DIALECTS, ENDINGS))
    kinds = {(life.dialect, life.ending, life.three) for life in lives}
    assert kinds == {
        (dialect, ending, three) for dialect in DIALECTS for ending in ENDINGS for three in (True, False)
    }
