"""The way of the data, from a text file to the numbers of the rows in a micro-batch.

    train.txt        one document a line
        | text         pieces of documents, read in bounded memory
        v
    tokenizing       ids of each document, by several processes
        | token_store  tokens.bin, offsets.bin, manifest.json under cache/<fingerprint>/
        v
    packing          row i (T,): a stretch of the stream, or a line
        :
        :              batching   (seed, step, rank) -> epochs and row numbers of each micro-batch,
        :                 ^       a pure function
        :                 |
        :              permutation   position -> row number, without a table
        v
    objective.collate  {input_ids, labels, ...} (B, T)

Nothing here knows of objectives, and nothing here keeps a state: every part is a file on disk or a
function of its arguments. Of these modules only `data_module`, which puts them together into the
loaders of a training process, imports torch.
"""
