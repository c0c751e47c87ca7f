"""zkFL (white paper VI.H): commitments to model updates, and proofs that an aggregate is their weighted sum.

Read `transcript.py` (what a proof is, byte by byte), `statement.py` (what is proven), `rows.py` (how). Then, in the
order of a round:

    COMMIT   opening.py   commit, knowledge.py   a client binds itself to its update and shows that it knows it
    REVEAL   reveal.py    the aggregator opens what it received, and finds who lied
    SUM      opening.py   add_openings
    PROVE    proving.py   the aggregator; VERIFY  aggregation.py   every replica; LOG  `aggregate_digest`
    CONSULT  consultation.py   the next cohort ties the model it received to the log
    masking.py            the round in which the aggregator sees no single update

Everything is a pure function; randomness is an argument. `group.py` alone knows the curve's library. numpy is imported
by `integers.py`, `opening.py` and `masking.py`, and by what imports them: provers. What a replica verifies with needs
none. All integers are big endian.
"""
