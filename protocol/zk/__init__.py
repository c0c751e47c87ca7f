"""zkFL (white paper VI.H): commitments to model updates, and proofs that an aggregate is their weighted sum.

Read `transcript.py` (what a proof is, byte by byte), `statement.py` (what is proven) and `rows.py` (how). Then, in the
order of a round:

    COMMIT    opening.blind, commit; proving.prove_knowledge     a client binds itself to its update, and knows it
              knowledge.verify_committed_update                  every replica
    REVEAL    opening.encode_opening, decode_reveal              client to aggregator
              opening.find_false_openings                        who lied
    SUM       opening.add_openings, aggregation.compute_product  the aggregator
    PROVE     aggregation.make_statement, proving.prove_aggregation
    VERIFY    aggregation.verify_aggregation                     every replica
    LOG       aggregation.aggregate_digest
    CONSULT   opening.decode_aggregate, consultation.consult     the next cohort
    mask_keys, masking   a round in which the aggregator sees no single update
    proof_file   a proof for people without a node

Everything is a pure function; randomness is an argument. `group.py` alone knows the curve's library. Provers need numpy
(`integers`, `opening`, `masking`, and what imports them); what replicas verify with does without. Multiplications let
go of Python's lock; what takes more than 2 ms belongs into a thread or the worker.
"""
