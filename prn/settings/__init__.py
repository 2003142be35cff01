"""The settings of `params.yaml` as typed models: what each key means and may hold, variants, what each stage reads."""
