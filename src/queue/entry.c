#include "queue/entry.h"

const char *entry_stage_word(enum entry_stage stage)
{
    static const char *const words[] = {
        [STAGE_KNOWN] = "known",
        [STAGE_SENDING] = "sending",
        [STAGE_REPLIED] = "replied",
        [STAGE_WRITTEN] = "written",
        [STAGE_GIVING_UP] = "giving_up",
        [STAGE_SETTLED] = "settled",
    };
    return words[stage];
}
