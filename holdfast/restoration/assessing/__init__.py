"""What speaks for or against a restoration, and how it would be done. Nothing is touched.

assess       everything below, in this order; its result is what is carried out
seen         what is asked for, and what was found out
looks        what is looked at, one function for each; long ones have a module of their own:
             databases, inode_numbers, not_kept, offers
plan         facts in, a plan or a refusal out. Pure
prediction   how long applications will wait
"""
