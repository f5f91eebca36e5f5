"""The memory of a batch; see batch.pxd."""

from libc.stdlib cimport calloc, free, malloc

from goldherd.native.sanitizer cimport poison


cdef Batch* make_batch() except NULL:
    cdef Batch* batch = <Batch*>calloc(1, sizeof(Batch))
    if batch == NULL:
        raise MemoryError
    batch.control = <uint8_t*>malloc(BATCH_CONTROL_BYTES)
    batch.data = <char*>malloc(BATCH_DATA_BYTES)
    if batch.control == NULL or batch.data == NULL:
        free_batch(batch)
        raise MemoryError
    poison(batch.control, BATCH_CONTROL_BYTES)
    return batch


cdef void free_batch(Batch* batch) noexcept nogil:
    if batch != NULL:
        free(batch.control)
        free(batch.data)
        free(batch)
