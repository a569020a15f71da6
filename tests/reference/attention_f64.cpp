#include "reference/attention_f64.h"
