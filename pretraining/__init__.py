"""Meta-learning of the built-in networks' warm starts from synthetic scenes.

``python -m pretraining`` draws synthetic scenes with a known answer, and learns all layers but the last, so
that a last layer fitted to a few strokes classifies the rest of a scene well. The result is the file that
``napari_dsparse.classifier.warm_start`` reads.

    draws -> shapes -> layouts -> appearance -> microscope -> scenes -> episodes -> learn -> warm_file

``python -m pretraining.penalties`` learns the penalties on detail and context, on wide scenes.

    draws -> shapes -> regions -> matter -> stains -> scenes -> painting -> context -> wide_fits -> schedule
"""
