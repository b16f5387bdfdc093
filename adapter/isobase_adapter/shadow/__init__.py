"""Shadow reads: the other side is asked the same in the background, and both answers are compared.

``answers`` is an answer and how it is read, ``requests`` what a request says about order and embedded rows,
``comparing`` the comparison (pure), ``censoring`` keeps secrets out of what is stored, ``running`` is the queue, the
second looks and the counters.
"""
