"""What the transformer backbones share: `stable_diffusion_3` and `flux` differ in text, packing and guidance alone.

`backbone.py` has the face; `flow.py` the noise schedule, `text.py` T5 and CLIP, `opening.py`, `loading.py` and
`single_file.py` what lies on disk, `extras.py` what is laid beside it, `drawing.py` and `pipeline.py` pictures. Nothing
here knows one family more than another.
"""
