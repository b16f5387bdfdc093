"""Which stage holds for a call: flags from the control store, from a file, or from any OpenFeature provider.

``stages`` is what the adapter asks for each call, ``shares`` who is in a share, ``keys`` how capabilities are called in
flag systems, ``file`` flags in a file, ``provider`` our flags for OpenFeature and other providers' flags for us.
"""
