"""Single-channel layers as one image: order, place, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QDialog

from gui_session import Desk, two_textures
from napari_dsparse.batch.outputs import stem_of
from napari_dsparse.errors import ImageError
from napari_dsparse.gui import pixel_copies, project_desk
from napari_dsparse.gui.batch_desk import RESULTS_FOLDER
from napari_dsparse.gui.batch_images import items_of_list, wanted_images
from napari_dsparse.gui.layers.combining import check_combination, combined_layer
from napari_dsparse.gui.layers.image_frame import channel_choices, frame_of, placement_of
from napari_dsparse.gui.widgets.combine_dialog import CombineDialog
from napari_dsparse.images.channel_stack import ChannelStack
from napari_dsparse.live.state import Training

PLACE = {"scale": (0.5, 0.25), "translate": (3, 4), "rotate": 30, "shear": [0.1], "units": ("um", "um")}


def channel(name: str, seed: int = 0, **options: object) -> Image:
    return Image(two_textures(seed=seed), name=name, **options)


def test_channels_come_in_the_order_chosen_and_lie_where_the_layers_lie() -> None:
    layers = [channel(name, seed, **PLACE) for seed, name in enumerate(("DAPI", "GFP", "RFP"))]
    ordered = [layers[2], layers[0], layers[1]]
    combined = combined_layer(ordered)
    assert combined.name == "RFP + DAPI + GFP"
    frame = frame_of(combined, channel_choices(combined)[0])
    assert (frame.source.channel_axis, frame.source.channels) == (0, 3)
    read = frame.source.read((), (0, 96), (0, 128))
    np.testing.assert_array_equal(read, np.stack([layer.data for layer in ordered]))
    for key, value in placement_of(layers[0]).items():
        if key in ("units", "axis_labels"):
            assert [str(one) for one in frame.placement[key]] == [str(one) for one in value]
        else:
            np.testing.assert_allclose(frame.placement[key], value)
    layers[2].data[0, 0] = 199  # nothing was copied
    assert frame.source.read((), (0, 1), (0, 1))[0, 0, 0] == 199


def test_stacks_combine_plane_by_plane() -> None:
    stacks = [Image(np.full((5, 20, 30), number), name=str(number)) for number in (7, 9)]
    frame = frame_of(combined := combined_layer(stacks), channel_choices(combined)[0])
    assert frame.source.shape == (5, 20, 30)
    assert frame.source.read((2,), (0, 1), (0, 1)).ravel().tolist() == [7, 9]


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([channel("a")], "at least two"),
        ([channel("a"), Image(np.zeros((96, 100)), name="b")], r"'b' has shape \(96, 100\)"),
        ([channel("a"), channel("b", scale=(2, 2))], "'b' differ in scale"),
        ([channel("a"), channel("b", translate=(0, 1))], "differ in translate"),
        ([channel("a"), channel("b", units=("um", "um"))], "differ in units"),
        (
            [channel("a"), Image(np.zeros((96, 128, 3)), name="rgb", rgb=True)],
            "'rgb' has channels of its own",
        ),
    ],
)
def test_what_is_no_image_is_refused_in_one_sentence(layers: list[Image], words: str) -> None:
    with pytest.raises(ImageError, match=words) as refused:
        check_combination(layers)
    assert str(refused.value).count(".") <= 2


def test_the_dialog_orders_and_the_dock_trains_on_the_combination(
    desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = desk(channel("DAPI"), channel("GFP", 1), Image(np.zeros((50, 60)), name="other"))
    at.find("image_combo").setCurrentText("GFP")
    assert not at.find("combine_button").isHidden()
    shown: list[CombineDialog] = []

    def answer(dialog: CombineDialog) -> QDialog.DialogCode:
        shown.append(dialog)
        assert dialog.chosen == [0, 1]  # what fits the image in front
        dialog.combine_list.item(2).setCheckState(Qt.CheckState.Checked)
        assert "(50, 60)" in dialog.problem_label.text()
        assert not dialog.combine_button.isEnabled()
        dialog.combine_list.item(2).setCheckState(Qt.CheckState.Unchecked)
        dialog.combine_list.setCurrentRow(1)
        dialog.up_button.click()
        assert dialog.chosen == [1, 0]
        assert dialog.combine_button.isEnabled()
        return QDialog.DialogCode.Accepted

    monkeypatch.setattr(CombineDialog, "exec", answer)
    at.click("combine_button")
    QApplication.processEvents()
    assert len(shown) == 1
    assert at.session.image == "GFP + DAPI"
    assert at.find("channels_combo").currentText().endswith("2 channels")
    assert not at.layer("GFP + DAPI").visible
    at.click("new_labels_button")
    at.paint_two_classes(at.layer("GFP + DAPI strokes"))
    at.wait(lambda: at.has_layer("GFP + DAPI segmentation"))
    assert at.session.model.classifier.spec.channels == 2
    assert at.layer("GFP + DAPI segmentation").data.shape == (96, 128)
    at.find("image_combo").setCurrentText("DAPI")
    assert at.session.strokes != "GFP + DAPI strokes"
    at.find("image_combo").setCurrentText("GFP + DAPI")
    assert at.session.strokes == "GFP + DAPI strokes"
    at.dock.study.add_layers([at.layer("GFP + DAPI")])
    at.dock.study.pick(0)
    assert not at.layer("GFP + DAPI").visible
    assert at.session.studied


def test_a_combination_is_kept_in_a_project_by_its_files(
    desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed, name in enumerate(("DAPI", "GFP")):
        tifffile.imwrite(tmp_path / f"{name}.tif", two_textures(seed=seed))
    at, folder = desk(), tmp_path / "study.dsparse"
    at.dock.viewer.open([str(tmp_path / "DAPI.tif"), str(tmp_path / "GFP.tif")], plugin="napari")
    layer = at.dock.combining.combine([at.layer("GFP"), at.layer("DAPI")])
    at.dock.study.add_layers([layer])
    at.dock.study.pick(0)
    strokes = at.layer("GFP + DAPI strokes")
    at.paint_two_classes(strokes)
    at.wait(lambda: at.session.training is Training.STEADY)
    asked: list[str] = []
    monkeypatch.setattr(pixel_copies, "confirm", lambda *about: asked.append(about[-1]) or True)
    monkeypatch.setattr(project_desk, "ask_project_path", lambda *about: folder)
    at.click("project_save_button")
    at.wait(lambda: at.find("project_label").text() == "All saved: study.dsparse")
    at.dock.shutdown()
    assert not asked  # no copy of the pixels is needed
    other = desk()
    other.dock.projects.open(folder)
    other.wait(lambda: other.has_layer("GFP + DAPI segmentation"))  # of one name before and after
    np.testing.assert_array_equal(other.layer("GFP + DAPI strokes").data, strokes.data)
    (entry,) = other.dock.study.study.images
    source = entry.source
    assert other.dock.study.front_folder == tmp_path
    (item,) = items_of_list([entry], ())
    assert item.place == str(tmp_path / "GFP.tif")
    (wanted,) = wanted_images([item])
    assert stem_of(wanted.name) == "GFP + DAPI"
    other.click("batch_button")
    assert other.dock.batch.dialog.batch_output_edit.text() == str(tmp_path / RESULTS_FOLDER)
    other.dock.batch.dialog.close()
    np.testing.assert_array_equal(source.data[...], np.stack([two_textures(seed=1), two_textures()]))
    assert other.session.model.classifier.spec.channels == 2


def test_masks_of_channels_are_kept() -> None:
    first = np.ma.masked_array(np.ones((4, 5), np.uint8), mask=np.eye(4, 5, dtype=bool))
    stack = ChannelStack([first, np.full((4, 5), 3, np.uint8)])
    assert np.ma.getmaskarray(stack[:, :2]).sum() == 2
    assert np.ma.getmaskarray(stack[0]).sum() == 4
    assert not isinstance(stack[1], np.ma.MaskedArray)
