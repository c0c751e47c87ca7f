"""Checks the stored log again from genesis, and says where it breaks. Reads only; what to do about it is `repair`'s."""
