"""The way of the data, from a text file to the numbers of the rows in a micro-batch.

    train.txt, .jsonl   one document a line, found by `text`
        | formats      documents of one or more texts with their fields; `lines` reads in bounded memory
        v
    tokenizing       ids of each text, by several processes
        | token_store  tokens.bin, offsets.bin, `fields`, manifest.json under cache/<fingerprint>/
        v
    packing          sample i: a stretch of the stream (T,), or a document and its fields
        :
        :              batching   (seed, step, rank) -> epochs and row numbers of each micro-batch,
        :                 ^       a pure function
        :                 |
        :              permutation   position -> row number, without a table
        v
    objective.collate  {input_ids, labels, ...} (B, T)

Nothing here knows of objectives, and nothing here keeps a state: every part is a file on disk or a
function of its arguments. `text_data` puts them together up to the rows, without torch; `data_module` and what it
loads with (`steps`, `loader_workers`) import it.
"""
