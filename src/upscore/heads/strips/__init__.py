"""How losses walk through an image on the CPU: strip by strip, two source rows at a time.

The image is cut into strips of source rows. A strip owns its source rows and is worked through by
one thread, chunk of columns by chunk of columns, from top to bottom; what it adds to the gradient
of the first row of the next strip is kept aside and added at the end. No sum depends on the number
of threads.
"""
