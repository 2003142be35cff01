"""One interface for PRN and every comparison method: fit on a split, predict score maps and image scores.

`docs/methods.md` tells how to add a method. Workflow, evaluation and reports know only the interface
(`prn.methods.base.BaseMethod`) and the entries in `prn.settings.methods`; nothing is imported here.
"""
