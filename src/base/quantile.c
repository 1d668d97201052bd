#include "base/quantile.h"

int64_t quantile_us(
    const int64_t *bounds_us, size_t bound_count, const int64_t *counts, double share)
{
    int64_t total = 0;
    for (size_t i = 0; i <= bound_count; i++)
        total += counts[i];
    if (total == 0)
        return -1;
    double rank = share * (double)total;
    double below = 0;
    int64_t lower_us = 0;
    for (size_t i = 0; i < bound_count; i++) {
        double within = (double)counts[i];
        if (counts[i] > 0 && below + within >= rank)
            return lower_us +
                   (int64_t)((double)(bounds_us[i] - lower_us) * (rank - below) / within);
        below += within;
        lower_us = bounds_us[i];
    }
    return lower_us;
}
