/* What compiled code reads of the FUSE protocol: see <linux/fuse.h>, system/fuse/wire.py. */

#pragma once

#include <stdint.h>

enum { FUSE_READ = 15, FUSE_WRITE = 16, FUSE_FSYNC = 20 };
enum { HEADER_BYTES = 80, IN_HEADER_BYTES = 40, OUT_HEADER_BYTES = 16, OUT_WRITE_BYTES = 24 };
#define UNIQUE_RESEND (UINT64_C(1) << 63)

struct request {
    uint32_t opcode, length;
    uint64_t unique, offset;
};
