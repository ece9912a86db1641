// A block of float32 numbers to block floating point with stochastic rounding, FAST's converter: find the
// greatest exponent, align, add noise below the bits that are kept, truncate.  Combinational.
//
// Codes are sign and M bits of magnitude; the scale is the float32 exponent field of the greatest
// number, so that code k means k * 2**(scale - 127 - (M - 1)).  A NaN or an infinity makes the scale
// all ones, NaN, and the codes zero.  Magnitudes that round up past the greatest code keep that code.
//
// Test vectors: fmtlib vectors bfp_m4_e8_g16 --op bfp --rounding stochastic
`timescale 1ns / 1ns
module bfp_converter #(
    parameter M = 4,      // bits of magnitude
    parameter COUNT = 16, // numbers in a block
    parameter BITS = 8    // bits of noise
) (
    input  wire [COUNT*32-1:0]    x,      // the first number in the lowest bits
    input  wire [COUNT*BITS-1:0]  noise,
    output reg  [COUNT*(M+1)-1:0] codes,
    output reg  [7:0]             scale
);
    localparam [M-1:0] GREATEST = {M{1'b1}};

    reg               sign;
    reg [7:0]         exponent, at_least_1;
    reg [23:0]        significand;
    reg [8:0]         shift;
    reg [24+BITS-1:0] aligned;
    reg [M+BITS:0]    noisy;
    reg [M:0]         rounded;
    integer           i;

    always @* begin
        scale = 0;
        for (i = 0; i < COUNT; i = i + 1)
            if (x[i*32+23 +: 8] > scale) scale = x[i*32+23 +: 8];

        for (i = 0; i < COUNT; i = i + 1) begin
            {sign, exponent} = x[i*32+23 +: 9];
            significand = {exponent != 0, x[i*32 +: 23]};
            // subnormal numbers have the quantum of the least normal ones
            at_least_1 = exponent == 0 ? 8'd1 : exponent;
            // bits to the right of the last one kept: 24 - M for the greatest number
            shift = 9'd24 - M + scale - at_least_1;
            // the fraction keeps as many bits as there is noise
            aligned = {significand, {BITS{1'b0}}} >> shift;
            noisy = aligned[M+BITS-1:0] + noise[i*BITS +: BITS];
            rounded = noisy >> BITS;
            codes[i*(M+1) +: M+1] = {sign, rounded > GREATEST ? GREATEST : rounded[M-1:0]};
        end
        if (scale == 8'hff) codes = 0;
    end
endmodule
