"""Every operation of the product, once: what each may do, in transactions, whatever face asks for it.

Knows no command, option or route, and no reactor. SQL lies in catalog/, files in volumes/; here is decided.
Start reading at context.py for what every operation works with.
"""
