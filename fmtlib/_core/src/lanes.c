/* Tables for moving lanes that are not 0 together; see lanes.inc.h. */
#include "kernels.h"

uint8_t fmt_lanes_kept[256][8], fmt_lanes_from[256][8];

void fmt_lanes_init(void)
{
    for (int flags = 0; flags < 256; flags++) {
        int kept = 0;
        for (int i = 0; i < 8; i++) {
            const int some = flags >> i & 1;
            fmt_lanes_kept[flags][kept] = (uint8_t)i;
            fmt_lanes_from[flags][i] = (uint8_t)(some ? kept : 128);
            kept += some;
        }
    }
}
