"""The auth client with the real GoTrue, for what Isobase's own server does not have: wallets and companies'
sign-ins.
"""
