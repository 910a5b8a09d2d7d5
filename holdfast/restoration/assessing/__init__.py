"""What speaks for or against a restoration, and how it would be done. Nothing is touched.

assess       everything below, in this order; its result is what is carried out
facts        what is asked for, and what was found out
checks       what may be in the way, one function for each; long ones have a module of their own:
             databases, inode_numbers, not_kept, offers
plan         facts in, a plan or a refusal out. Pure
prediction   how long applications will wait
"""
