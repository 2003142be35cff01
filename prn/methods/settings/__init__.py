"""One module a method: its section of the settings and its `MethodEntry`; light, since every plan imports all."""
