"""Third-party copy: EXTENDED COPY, token copies (ODX), and the commands that ask how a copy ended (SPC-4 5.17)."""
