"""The recipe of `mini`: held-out rule, composer and its truth, captions, tokenizer, codec, grounding losses."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy.ndimage import distance_transform_edt

from recipes.mini import appearance, examples, grounding
from recipes.mini.captions import OBJECT, caption, words_of_captions
from recipes.mini.codec import construct_encoder, fit_codec
from recipes.mini.pace import Pace
from recipes.mini.shards import cell_labels
from recipes.mini.tokenizer import learn_merges, make_tokenizer, split_word
from recipes.mini.train_vae import make_vae, to_tensor
from uce.scenes.composing import Scene, compose
from uce.scenes.layouts import Layout
from uce.scenes.names import NAMES, plural
from uce.scenes.objects import crop_visible, is_object, list_objects, load_object, split_of
from uce.scenes.things import VARIANTS, Thing, join, make_loader, recolour


def draw(stem: str) -> Image.Image:
    """A stand-in object: a disc or a box, of a colour that depends on the stem."""
    picture = Image.new("RGBA", (64, 64))
    colour = (*hashlib.sha256(stem.encode()).digest()[:3], 255)
    pen = ImageDraw.Draw(picture)
    (pen.ellipse if len(stem) % 2 else pen.rectangle)((8, 12, 56, 50), fill=colour)
    return picture


def scene(index: int = 0, side: int = 128, stems: tuple[str, ...] = ("a", "bb", "c")) -> Scene:
    return compose([Thing(stem) for stem in stems], make_loader(draw), 3, index, side)


def test_held_out_rule_is_the_hash_of_the_stem() -> None:
    for stem in ("1f34e", "1f40d", "2708-fe0f", "1f9e6"):
        residue = int(hashlib.sha256(stem.encode()).hexdigest(), 16) % 10
        assert split_of(stem) == {0: "test", 5: "validation"}.get(residue, "train")
    assert split_of("1f40d") == "test"
    assert split_of("1f334") == "test"


@pytest.mark.parametrize(
    "stem", ["0023-fe0f-20e3", "1f1e9-1f1ea", "1f44b-1f3fb", "1f3f4", "27a1-fe0f", "1f170-fe0f", "readme"]
)
def test_flags_signs_and_skin_tones_are_no_objects(stem: str) -> None:
    assert not is_object(stem)


@pytest.mark.parametrize("stem", ["1f34e", "2708-fe0f", "1f9f8", "1fad6", "26f5"])
def test_things_are_objects(stem: str) -> None:
    assert is_object(stem)


def test_every_named_object_is_a_training_object() -> None:
    assert len(NAMES) >= 100
    assert len(set(NAMES.values())) == len(NAMES)
    for stem, name in NAMES.items():
        assert is_object(stem), stem
        assert split_of(stem) == "train", stem
        assert name.isalpha()


def test_examples_hold_only_test_objects() -> None:
    for _, _, stems in examples.EXAMPLES.values():
        assert all(split_of(stem) == "test" for stem in stems)


def test_objects_are_listed_by_split_and_cropped(tmp_path: Path) -> None:
    for stem in ("1f34e", "1f40d", "1f334", "0023-fe0f-20e3"):
        draw(stem).save(tmp_path / f"{stem}.webp", lossless=True)
    assert list_objects(tmp_path, "test") == ["1f334", "1f40d"]
    assert "0023-fe0f-20e3" not in list_objects(tmp_path)
    assert max(load_object(tmp_path, "1f34e", 40).size) == 40
    with pytest.raises(ValueError, match="fully transparent"):
        crop_visible(Image.new("RGBA", (8, 8)), 8)


def test_composer_is_deterministic() -> None:
    first, again, other = scene(4), scene(4), scene(5)
    assert np.array_equal(first.picture, again.picture)
    assert np.array_equal(first.masks, again.masks)
    assert not np.array_equal(first.picture, other.picture)


@pytest.mark.parametrize("index", range(6))
def test_masks_are_disjoint_and_show_their_object(index: int) -> None:
    made = scene(index)
    assert made.masks.shape == (3, 128, 128)
    assert made.masks.sum(0).max() == 1
    for mask, thing in zip(made.masks, made.things, strict=True):
        assert mask.sum() > 50
        colour = np.array(list(hashlib.sha256(thing.stem.encode()).digest()[:3]))
        off = np.abs(made.picture[mask].astype(int) - colour).max(-1)
        assert np.median(off) <= 2


def test_cell_labels_follow_the_masks() -> None:
    made = scene(1)
    labels = cell_labels(made, 16)
    assert labels.shape == (16, 16)
    assert set(np.unique(labels)) <= {0, 1, 2, 3}
    for number, mask in enumerate(made.masks, 1):
        assert mask.reshape(16, 8, 16, 8).mean((1, 3))[labels == number].min() > 0.25


def test_a_scene_needs_things() -> None:
    with pytest.raises(ValueError, match="at least one thing"):
        compose([], make_loader(draw), 0, 0)


@pytest.mark.parametrize("number", range(len(VARIANTS)))
def test_variants_are_cropped_as_long_as_the_object_and_differ(number: int) -> None:
    plain, varied = (make_loader(lambda stem: crop_visible(draw(stem), 64))(Thing("bb", n)) for n in (0, number))
    assert max(varied.size) == 64
    alpha = np.asarray(varied)[..., 3] > 16
    assert alpha.any(0).all() and alpha.any(1).all()
    assert (varied.size == plain.size and np.array_equal(np.asarray(varied), np.asarray(plain))) == (number == 0)


def test_a_variant_with_a_mate_shows_the_upper_half_of_one_thing_on_the_lower_half_of_another() -> None:
    number = next(n for n, variant in enumerate(VARIANTS) if variant.mate)
    stems = [f"{n}" for n in range(500)]
    upper, lower = Image.new("RGBA", (40, 40), "red"), Image.new("RGBA", (20, 20), "blue")
    assert np.array_equal(np.asarray(join(upper, lower))[:, 0, 0], [255] * 20 + [0] * 20)
    apart, mated = (make_loader(draw, known)(Thing("3", number)) for known in ((), stems))
    assert np.asarray(apart).shape != np.asarray(mated).shape or (np.asarray(apart) != np.asarray(mated)).any()


def test_recolouring_scales_light_and_keeps_alpha() -> None:
    picture = Image.new("RGBA", (2, 2), (200, 100, 50, 77))
    darker = np.asarray(recolour(picture, 0.0, light=0.5))
    assert np.abs(darker[0, 0].astype(int) - (100, 50, 25, 77)).max() <= 2
    grey = np.asarray(recolour(picture, 0.0, colour=0.0))
    assert np.ptp(grey[0, 0, :3]) == 0


@pytest.mark.parametrize("layout", ["apart", "beside", "touching", "overlapping"])
def test_every_layout_shows_every_thing(layout: Layout) -> None:
    things = [Thing(stem) for stem in ("a", "bb", "c", "a")]
    made = compose(things, make_loader(draw), 3, 1, layout=layout)
    assert all(mask.sum() > 50 for mask in made.masks)
    distances = distance_transform_edt(~made.masks[0])
    nearest = min(float(distances[mask].min()) for mask in made.masks[1:])
    assert (nearest <= 2) == (layout in ("touching", "overlapping"))


def test_pace_falls_by_updates_or_by_the_clock() -> None:
    by_steps, by_clock = Pace(1.0, 0.5, 1000), Pace(1.0, 0.5, 1000, minutes=10)
    assert by_steps.at(0, 0) == pytest.approx(1 / 60)
    assert by_steps.at(400, 1e9) == 1 == by_clock.at(10_000, 299)
    assert by_steps.at(750, 0) == pytest.approx(0.5) == by_clock.at(10_000, 450)
    assert by_steps.at(1000, 0) == 0.02
    assert by_clock.done(5, 600) == 1


def test_a_table_of_fewer_variants_is_extended_on_its_own_axes() -> None:
    rng = np.random.default_rng(0)
    rows, basis = rng.normal(size=(60, 8)).astype(np.float32), rng.normal(size=(8, 3)).astype(np.float32)
    scores = (rows - rows[:40].mean(0)) @ basis + 0.5
    assert np.allclose(appearance.scores_like(rows, scores[:40]), scores, atol=1e-3)


def test_captions_mention_each_kind_once_and_count_it() -> None:
    rng = np.random.default_rng(0)
    known = set(words_of_captions())
    for _ in range(50):
        text = caption(rng, [7, 9, 7], "snow")
        mentions = [m for m in text.mentions if m >= 0]
        assert sorted(mentions) == [0, 1]
        assert [w == OBJECT for w in text.words] == [m >= 0 for m in text.mentions]
        assert text.words[text.mentions.index(0) - 1] == "two"
        assert {word for word in text.words if word != OBJECT} <= known


def test_every_training_word_is_one_token(tmp_path: Path) -> None:
    words = words_of_captions() + [w for name in NAMES.values() for w in (name, plural(name))]
    words = [word for word in words if word.isalpha()]
    tokenizer = make_tokenizer(words, tmp_path)
    assert [word for word in words if len(tokenizer(word, add_special_tokens=False).input_ids) != 1] == []
    assert tokenizer.pad_token_id == 0
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    ids = tokenizer("a photo of zeppelin 猫", padding="max_length", max_length=32).input_ids
    assert len(ids) == 32
    assert tokenizer.unk_token_id not in ids[1 : ids.index(tokenizer.eos_token_id)]


def test_later_merges_do_not_disturb_earlier_words() -> None:
    merges = learn_merges(["guitar", "fruit", "suit", "tar"])
    ranks = {pair: i for i, pair in enumerate(merges)}
    assert all(len(split_word(word, ranks)) == 1 for word in ("guitar", "fruit", "suit", "tar"))


def test_constructed_encoder_computes_the_projection() -> None:
    pictures = np.stack([scene(i).picture for i in range(6)])
    codec = fit_codec(pictures)
    vae = make_vae()
    construct_encoder(vae, codec)
    with torch.no_grad():
        got = vae.encode(to_tensor(pictures[:2])).latent_dist.mode().numpy()
    want = codec.encode(pictures[:2])
    assert np.abs(got - want).max() < 0.02 * np.abs(want).max()


def test_grounding_losses_prefer_grounded_attention() -> None:
    labels = torch.zeros(1, 4, 4, dtype=torch.uint8)
    labels[:, :2, :2] = 1
    same = (labels.flatten(1)[:, :, None] == labels.flatten(1)[:, None]).float()
    grounded, uniform = same / same.sum(-1, keepdim=True), torch.full((1, 16, 16), 1 / 16)
    assert grounding.self_loss([grounded], labels, 4) < 1e-5 < grounding.self_loss([uniform], labels, 4)
    mentioned = torch.zeros(1, 3, 5, dtype=torch.bool)
    mentioned[0, 1, 1] = True
    on_object = torch.zeros(1, 16, 3)
    on_object[0, :, 1] = (labels.flatten() == 1).float()
    even = torch.full((1, 16, 3), 1 / 3)
    assert grounding.mention_loss([on_object], labels, mentioned) < grounding.mention_loss([even], labels, mentioned)
    assert grounding.saliency_loss([on_object], labels, 2, 1) < grounding.saliency_loss([even], labels, 2, 1)
