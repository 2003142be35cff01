"""The stages: each reads artefacts, calls one room of the package and writes its artefact with provenance.

`prn <stage>` runs one by hand and `workflow/rules` runs them all; both come through `Job`.
"""
