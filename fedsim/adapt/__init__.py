"""The mathematics of adapting between domains: functions of arrays, which the shelves build on."""
